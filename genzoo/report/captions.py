"""What the pictures of a card show, and what it would mean. No torch here."""

# By the name of the picture: what it is called in a link, and a caption.
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
        "the same for real images",
        "The same for held-out real images, left, which no model has copied: so alike are real "
        "images by themselves.",
    ),
    "least_real": (
        "the samples that look least real",
        "The samples that look least real to the extractor, each beside the training image that "
        "is nearest to it. What they have in common is what the model does not draw well.",
    ),
    "not_reached": (
        "real images that no sample comes near",
        "The held-out real images that samples reach worst, each beside the sample nearest to it. "
        "What they have in common is what the model hardly draws. 1 radius: just out of reach.",
    ),
    "missing": (
        "training images that no sample comes near",
        "Training images that no sample comes near. What they have in common is what the model "
        "leaves out.",
    ),
    "closest_pairs": (
        "the samples that are most alike",
        "In threes: two samples that are among the closest to each other, with their distance, and "
        "the training image nearest to the first. Where the two are one image, the model repeats "
        "itself; where the third is it too, it repeats what it was trained on.",
    ),
    "interpolations": (
        "walks between samples",
        "In each row a walk from one random latent to another. Each step should be a small one, "
        "and each image look like data.",
    ),
    "reconstructions": (
        "images given back",
        "In pairs of rows: held-out real images, and below them what the model gives back.",
    ),
    "filters": ("filters", "What each hidden unit looks for in an image."),
    "traversals": ("traversals", "In each row one entry of a latent is changed, and no other."),
    "manifold": ("the latent plane", "Images over a plane of the latent space."),
    "edits": ("edits", "Held-out real images, and what becomes of them along a direction."),
}


def caption(name: str) -> str:
    """What one sees on the picture of this name."""
    return CAPTIONS[name][1] if name in CAPTIONS else f"{name.replace('_', ' ').capitalize()}."


def short(name: str) -> str:
    """The picture, in a sentence that points to it."""
    return CAPTIONS[name][0] if name in CAPTIONS else name.replace("_", " ")
