// Package client reads what identity providers really send, and hands on what
// they meant. Every value passes here before scim/schema validates it.
//
// One file per family of habit, each rule numbered as in the tests:
//
//	operations.go  T1 op in any case, T5 dotted and URN keys, T6 remove with a value array,
//	               T10 id, meta, schemas, groups in path-less values
//	values.go      T2 booleans as text, T3 one value for many and many for one, T8 "" clears
//	manager.go     T4 the manager as text, array or OneLogin's managerId
//	resource.go    T5 and T11 dotted and unknown keys in POST and PUT
//	schemas.go     T9 missing, foreign and 1.x schema URNs
//	filter.go      T2 and T12 operands of filters
//	request.go     T15 trailing / ? &, T16 Accept, T18 unknown parameters
//	decode.go      limits of a JSON body (no tolerance there)
//
// T7 (create the element a value filter did not find) and T13 (repeated add
// and remove) are in scim/patch; T14 and T17 need no code: nothing asks for
// the parts they leave out.
//
// It must not know HTTP handlers, members or stores. A rule only ever changes
// the shape of a value, never whose record it is written to.
package client
