"""Reading the weights of each family: guarded against files that are damaged, of another network, or hostile."""
