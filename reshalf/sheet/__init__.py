"""Sheets of paper: a halftone printed with markers, scanned or photographed, and restored in colour."""
