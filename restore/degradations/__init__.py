"""What turns a good picture into a poor one: resizing, blur, noise, compression, and the pipelines made of them."""
