"""How good a picture is: one file a metric, its protocol in its name, one value per image."""
