"""What is done to people's photos: models applied to whole pictures, faces put back, masks found. No command line."""
