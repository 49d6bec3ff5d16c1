// Package patch applies the operations of a PATCH request (RFC 7644 section
// 3.5.2) to a resource, all of them or none.
//
// It owns: [Apply], from one canonical tree to the next (users), and [Group],
// from operations to a list of membership steps without ever reading the
// members (a group of 100,000 must not be loaded to add one).
//
// It must not know HTTP, members or stores, nor the habits of IdPs beyond the
// two switches of [Options]: rewriting those is scim/client's.
package patch
