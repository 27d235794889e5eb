"""The words of the house: frozen values, enums, events and errors.  Standard library only."""
