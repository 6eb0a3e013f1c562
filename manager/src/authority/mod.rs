//! The cluster's certificate authority as a service: root download, certificate issue and status, the unlock key,
//! the loop that signs what is pending, and the loop that carries a root rotation through.
