package scim

import (
	"strconv"
	"strings"

	"github.com/ssogate/ssogate/scim/client"
	"github.com/ssogate/ssogate/scim/schema"
)

// searchURN marks a search request (RFC 7644 section 3.4.3).
const searchURN = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"

// searchUsers and searchGroups are RFC 7644 section 3.4.3: a list whose
// parameters come in the body, so that a filter with a person's name in it is
// in no proxy's log.
func (c *call) searchUsers() (reply, error) {
	raw, err := c.searchRequest()
	if err != nil {
		return reply{}, err
	}
	return list(c, c.users(), raw)
}

func (c *call) searchGroups() (reply, error) {
	raw, err := c.searchRequest()
	if err != nil {
		return reply{}, err
	}
	return list(c, c.groups(), raw)
}

// searchRoot and listRoot look among all resource types at once (section 3.4.2.1).
func (c *call) searchRoot() (reply, error) {
	raw, err := c.searchRequest()
	if err != nil {
		return reply{}, err
	}
	return c.root(raw)
}

func (c *call) listRoot() (reply, error) {
	raw, err := c.parameters()
	if err != nil {
		return reply{}, err
	}
	return c.root(raw)
}

// searchRequest reads the body into the form of a query. Names are compared in
// any case (RFC 7643 section 2.1); what is unknown is ignored, as in a query.
func (c *call) searchRequest() (map[string]string, error) {
	body, err := c.body()
	if err != nil {
		return nil, err
	}
	if err := client.Message(body, searchURN, c.profile, &c.notes); err != nil {
		return nil, err
	}
	raw := map[string]string{}
	for k, v := range body {
		for _, name := range listParameters {
			if v == nil || !strings.EqualFold(k, name) {
				continue
			}
			if _, twice := raw[name]; twice {
				return nil, badRequest(schema.InvalidSyntax, name+" is given twice")
			}
			s, ok := parameter(name, v)
			if !ok {
				return nil, badRequest(schema.InvalidValue, name+" has the wrong type")
			}
			raw[name] = s
		}
	}
	return raw, nil
}

// parameter is one value of a search request as a query would spell it.
func parameter(name string, v any) (string, bool) {
	switch v := v.(type) {
	case string:
		return v, true
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64), name == "startIndex" || name == "count"
	case []any:
		names := make([]string, 0, len(v))
		for _, el := range v {
			s, ok := el.(string)
			if !ok {
				return "", false
			}
			names = append(names, s)
		}
		return strings.Join(names, ","), strings.HasSuffix(strings.ToLower(name), "attributes")
	}
	return "", false
}
