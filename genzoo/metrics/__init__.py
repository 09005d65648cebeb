"""Statistics of images and of their features: functions of tensors, for anybody's script."""
