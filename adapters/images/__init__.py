"""Contents of images: blobs and extracted layers on disk, archives in, layers out. Knows no events."""
