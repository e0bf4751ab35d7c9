"""Reading the weights of each family: guarded against files that are damaged, of another network, or hostile.

Whatever is wrong with a file raises an `MdxError`, one line that names the file and the way out.
"""
