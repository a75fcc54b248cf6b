# Says that `sealing.pyx` is to be compiled; other modules use what it shows to Python.
