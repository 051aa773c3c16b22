(table $one 1000000 funcref)
