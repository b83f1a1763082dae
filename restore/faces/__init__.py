"""Faces in pictures: where they are, how they are brought into one pose, and whose they are.

Five landmarks stand for a face, as x and y in pixels, pixel centres being at whole numbers: left eye, right eye, nose
tip, left mouth corner, right mouth corner. Left is what is left in a picture of an upright face, the person's right.
"""
