"""The commands of `seg-edge`, one file each; `seg_edge.commands.cli` puts them together."""
