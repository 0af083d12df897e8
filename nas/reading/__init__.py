"""Reading files that may come from a stranger: bounded, plain, and refused in one line.

`files` opens regular files only, `json_text`, `yaml_text` and `csv_text` read three forms from them, and
`plain` says what is allowed in the containers that come out. Whoever reads a file of a run folder, a genotype
or a table reads it through here.
"""
