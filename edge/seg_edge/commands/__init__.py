"""The commands of `seg-edge`, one file each; `seg_edge.cli` puts them together."""
