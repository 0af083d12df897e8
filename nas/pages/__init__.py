"""Pages that show runs: what is on them, how it is drawn, and the templates that write them as HTML.

`blocks` says what a page is made of, `folder` reads what may be a stranger's, `run_page`, `group_page` and
`index_page` put pages together, `render` writes one as a file that needs nothing else.
"""
