"""Instrumentation of other libraries, one module or package each, imported only when it is used."""
