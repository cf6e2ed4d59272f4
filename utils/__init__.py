"""Small, general modules: errors, commands, files, hardware, tiling, filters, pixels."""
