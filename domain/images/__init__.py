"""Images: references, manifests, layers, history, and the events of images and tags."""
