"""Where images and texts come from, how the training set is divided, and how batches are made from it.

`sources` says what a source is; `digits`, `cifar` and `folder` are the sources; `splits` divides a training
set; `loaders` yields batches of uint8 images; `augment` turns them into a network's input on the device
they are on.

`text` says what a source of text is; `ptb`, `wikitext2` and `embedded` are the sources; `text_split` cuts the
streams; `batchify` yields segments of columns.
"""
