package config

import (
	"maps"
	"slices"
	"strings"
)

// LoadProvider reads one provider in the words of a config file, from a file that has
// nothing but
//
//	providers:
//	  - id: ...
//
// and checks it as [Load] would. It is how a provider that lives in the database is
// written. The error is an *[Error] with every fault.
func LoadProvider(path string) (Provider, error) {
	data, _, fault := readConfig(path)
	if fault != nil {
		return Provider{}, &Error{Path: path, Faults: []Fault{*fault}}
	}
	d := newDocument(path)
	d.parse(data)
	c, err := d.decode()
	if err != nil {
		d.faults.add("", "cannot be decoded", "please report this as a bug")
		return Provider{}, &Error{Path: path, Faults: d.faults.list}
	}
	base, err := baseDir(path)
	if err != nil {
		d.faults.add("", "cannot find the working directory", "start from a directory that exists")
		return Provider{}, &Error{Path: path, Faults: d.faults.list}
	}
	for _, key := range slices.Sorted(maps.Keys(d.sources)) {
		if !strings.HasPrefix(key, "providers") {
			d.faults.list = append(d.faults.list, Fault{Key: key, Source: d.sources[key], Problem: "does not belong here", Fix: "keep nothing but providers: in this file"})
		}
	}
	c.derive()
	files := readFiles(c, base)
	d.merge(files.list)
	var fs faults
	if len(c.Providers) != 1 {
		fs.add("providers", "holds not exactly one provider", "write one: the part of a config file from \"providers:\" on")
	}
	c.validateProviders(&fs)
	d.merge(fs.list)
	if len(d.faults.list) > 0 {
		return Provider{}, &Error{Path: path, Faults: d.faults.list}
	}
	return c.Providers[0], nil
}
