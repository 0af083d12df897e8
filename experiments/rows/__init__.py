"""The list of every row of the papers' tables, made of one data file and the headers of conf/experiment."""
