"""The page of `restore demo`: someone's photo in a browser, and what this package can do to it.

`visits` keeps the files of a visit and loses them, `uploads` reads what came in, `answers` is what the buttons do and
knows nothing of Gradio, `page` is the layout, `gate` is what of the server a browser may ask for, `server` runs it all.
"""
