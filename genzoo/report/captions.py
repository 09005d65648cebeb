"""Captions of a card's pictures. This file does not import torch."""

# By the name of the picture: a short phrase for links, and a caption.
CAPTIONS = {
    "samples": ("samples", "Samples, drawn at random and not chosen."),
    "nearest_training_images": (
        "samples beside their nearest training images",
        "Left in each row a sample, right of it the training images nearest to it, with their "
        "distances. First the samples that lie closest of all, then some at random. A sample that "
        "is the image beside it, perhaps moved or mirrored, is a copy.",
    ),
    "nearest_held_out_images": (
        "samples beside their nearest held-out images",
        "Left in each row a sample, right of it the held-out images nearest to it, with their "
        "distances. First the samples that lie closest of all, then some at random.",
    ),
    "nearest_training_images_of_held_out": (
        "held-out images beside their nearest training images",
        "The same for held-out real images, left, which are no copies: so alike are different real "
        "images.",
    ),
    "least_real": (
        "the samples that look least real",
        "The samples that look least real to the extractor, each beside the training image that "
        "is nearest to it. What they have in common is what the model does not draw well.",
    ),
    "not_reached": (
        "real images that no sample comes near",
        "The held-out real images farthest from all samples, each beside the sample nearest to it. "
        "What they have in common is what the model hardly draws. 1 radius: the distance to the "
        "fifth nearest held-out image.",
    ),
    "missing": (
        "training images that no sample comes near",
        "Training images that no sample comes near. What they have in common is what the model "
        "leaves out.",
    ),
    "closest_pairs": (
        "the samples that are most alike",
        "Groups of three: two samples that are among the closest to each other, with their "
        "distance, and the training image nearest to the first. If the two samples are equal, the "
        "model repeats itself; if the third is equal too, it repeats a training image.",
    ),
    "interpolations": (
        "walks between samples",
        "In each row a walk from one random latent to another. Each step should be a small one, "
        "and each image look like data.",
    ),
    "reconstructions": (
        "reconstructions",
        "In pairs of rows: held-out real images, and below them their reconstructions.",
    ),
    "filters": ("filters", "The weights of each hidden unit, as an image."),
    "traversals": ("traversals", "In each row one entry of a latent is changed, and no other."),
    "manifold": ("the latent plane", "Images over a plane of the latent space."),
    "edits": ("edits", "Held-out real images, and their edits along a direction of the latents."),
}


def caption(name: str) -> str:
    """The caption of the picture of this name."""
    return CAPTIONS[name][1] if name in CAPTIONS else f"{name.replace('_', ' ').capitalize()}."


def short(name: str) -> str:
    """A short phrase for the picture of this name, for links."""
    return CAPTIONS[name][0] if name in CAPTIONS else name.replace("_", " ")
