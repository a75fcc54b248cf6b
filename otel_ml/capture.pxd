cpdef tuple rows_and_columns(value)
