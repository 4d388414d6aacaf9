//! What the process was given: variables, directories, the user.
