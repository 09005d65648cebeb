"""Statistics of images and of their features: functions of tensors, usable in any script."""
