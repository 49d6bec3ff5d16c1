package scim

import "github.com/ssogate/ssogate/scim/record"

// What SCIM asks of a store. The types live in scim/record, below this package
// and below store/sql, so that the store need not import the handlers.
type (
	// Query is one page of a list.
	Query = record.Query
	// Sort orders a list by one attribute.
	Sort = record.Sort
	// Searcher lists resources in one connection's scope.
	Searcher = record.Searcher
	// StoredToken is a bearer token or an OAuth 2.0 client.
	StoredToken = record.StoredToken
	// Tokens keeps bearer tokens.
	Tokens = record.Tokens
	// Clients keeps OAuth 2.0 clients.
	Clients = record.Clients
	// Access is everything about who may provision at this moment.
	Access = record.Access
)
