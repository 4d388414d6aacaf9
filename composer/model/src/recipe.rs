//! Recipes: as typed and as meant.
