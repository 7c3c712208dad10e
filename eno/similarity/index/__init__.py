"""The index: vectors in a space that was fitted on the collection, and the engines that search them."""
