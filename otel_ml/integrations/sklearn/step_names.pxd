cpdef name_of(estimator, owner)
