"""Problems that searches are judged on: learning curves of networks unlike the full VGG6."""
