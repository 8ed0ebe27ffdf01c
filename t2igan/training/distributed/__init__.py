"""Devices, meshes and several processes."""
