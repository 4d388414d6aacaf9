//! What a build and its checks found.
