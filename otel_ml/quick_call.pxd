cpdef quicken(wrapper)
