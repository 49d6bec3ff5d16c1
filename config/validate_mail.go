package config

import (
	"net"
	netmail "net/mail"
	"strconv"
	"strings"
)

// SMTPServer is the host and port of mail.server; ok is false when it is none.
func (m Mail) SMTPServer() (host string, port int, ok bool) {
	host, text, err := net.SplitHostPort(m.Server)
	if err != nil {
		host, text = m.Server, "587"
		if m.TLS == MailTLS {
			text = "465"
		}
		if strings.Contains(host, ":") && net.ParseIP(host) == nil {
			return "", 0, false
		}
	}
	port, err = strconv.Atoi(text)
	ok = err == nil && port > 0 && port < 65536 && host != "" && !strings.ContainsAny(host, " /\t\r\n@[]")
	return host, port, ok
}

func (c *Config) validateMail(fs *faults) {
	m := &c.Mail
	fs.oneOf("mail.tls", m.TLS, MailSTARTTLS, MailTLS, MailNone)
	fs.within("mail.rate", m.Rate, 1, 100_000)
	if m.Server == "" {
		if m.User != "" || m.Password != "" || m.PasswordFile != "" || m.From != "" || m.CAFile != "" {
			fs.add("mail.server", "is not set, but other keys of mail are", "name the SMTP server, or remove the section")
		}
		return
	}
	host, _, ok := m.SMTPServer()
	if !ok {
		fs.add("mail.server", "not a host name with or without a port", `write for example "smtp.example.com:587"`)
	}
	if a, err := netmail.ParseAddress(m.From); err != nil || a.Address != m.From {
		fs.add("mail.from", "not an e-mail address", `write it alone, for example "sso@example.com"; the name has a key of its own`)
	}
	if m.TLS == MailNone && !loopbackHost(host) {
		fs.add("mail.tls", `"none" with a server on another machine: invitations could be read on the way`, `write "starttls" or "tls"`)
	}
	if (m.User == "") != (m.Password == "" && m.PasswordFile == "") {
		fs.add("mail.password", "user and password go together", "set both or neither")
	}
	if m.Password != "" && m.PasswordFile != "" {
		fs.add("mail.password_file", "given twice, as password and as a file", "keep one of the two")
	}
}

func loopbackHost(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
