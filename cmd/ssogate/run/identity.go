package run

import (
	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/header"
	"github.com/ssogate/ssogate/proxy"
	"github.com/ssogate/ssogate/proxy/assertion"
)

func identityFrom(i *config.Identity) proxy.IdentitySpec {
	s := proxy.IdentitySpec{
		Assertion: proxy.AssertionSpec{
			Algorithm: assertion.Algorithm(i.Assertion.Algorithm), Header: i.Assertion.Header, Audience: i.Assertion.Audience,
		},
		Basic:  proxy.BasicSpec{User: i.Basic.User, Password: i.Basic.Password},
		Bearer: i.Bearer,
		Cookie: proxy.CookieSpec{Name: i.Cookie.Name, Value: i.Cookie.Value, Encoding: header.Encoding(i.Cookie.Encoding)},
	}
	for _, h := range i.Headers {
		s.Headers = append(s.Headers, header.Spec{Name: h.Name, Value: h.Value, Encoding: header.Encoding(h.Encoding)})
	}
	return s
}
