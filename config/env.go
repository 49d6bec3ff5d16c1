package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// EnvPrefix starts the name of every environment variable that ssogate reads.
const EnvPrefix = "SSOGATE_"

// EnvConfig names the config file for commands started without --config. It is
// not a key.
const EnvConfig = EnvPrefix + "CONFIG"

// serviceLink matches the variables that Kubernetes puts into every pod for a
// Service named ssogate or ssogate-something. They are not ours, and refusing
// them would keep the gateway from starting for the name of its own Service.
var serviceLink = regexp.MustCompile(`^SSOGATE_([A-Z0-9_]+_)?(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$`)

// step is one part of a resolved variable name: a key, or an index of a list.
type step struct {
	f     *node
	index int // -1 = the key itself
}

// environment lays SSOGATE_... variables over the tree. A variable wins over
// the file, also for keys and list elements that the file does not have. One
// that names no key is a fault: a typo must not leave a default in force.
func (d *document) environment(env []string) {
	sorted := slices.Clone(env)
	// "SSOGATE_TRUSTED_PROXIES" before "SSOGATE_TRUSTED_PROXIES_0", index 2 before 10.
	slices.SortStableFunc(sorted, func(a, b string) int {
		an, _, _ := strings.Cut(a, "=")
		bn, _, _ := strings.Cut(b, "=")
		if c := len(an) - len(bn); c != 0 {
			return c
		}
		return strings.Compare(an, bn)
	})
	for _, kv := range sorted {
		name, value, ok := strings.Cut(kv, "=")
		if !ok || !strings.HasPrefix(name, EnvPrefix) || name == EnvConfig {
			continue
		}
		var paths [][]step
		resolve(d.root, strings.TrimPrefix(name, EnvPrefix), nil, &paths)
		if len(paths) == 0 {
			if !serviceLink.MatchString(name) {
				d.faults.add(printable(name), "no such key", d.suggestEnv(name))
			}
			continue
		}
		d.overlay(name, paths[0], value)
	}
}

// resolve finds every way to read rest as a path below at. A test proves that
// no two keys of the schema share a name.
func resolve(at *node, rest string, so []step, out *[][]step) {
	for _, f := range at.fields {
		after, ok := strings.CutPrefix(rest, strings.ToUpper(f.key))
		if !ok {
			continue
		}
		here := append(slices.Clone(so), step{f, -1})
		if after == "" {
			if f.kind != kindStruct {
				*out = append(*out, here)
			}
			continue
		}
		after, ok = strings.CutPrefix(after, "_")
		if !ok {
			continue
		}
		switch f.kind {
		case kindStruct:
			resolve(f, after, here, out)
		case kindList, kindStrings:
			num, below, nested := strings.Cut(after, "_")
			i, ok := decimal(num)
			if !ok || i < 0 || i >= maxElements || nested != (f.kind == kindList) {
				continue
			}
			here = append(here, step{f, i})
			if f.kind == kindStrings {
				*out = append(*out, here)
				continue
			}
			resolve(f, below, here, out)
		}
	}
}

// overlay writes one resolved variable into the tree.
func (d *document) overlay(name string, steps []step, text string) {
	into, path := d.tree, ""
	last := steps[len(steps)-1]
	for i, s := range steps {
		if s.index >= 0 { // the element of the list named by the step before
			list, _ := into[s.f.key].([]any)
			if s.index > len(list) {
				d.envFault(path, name, fmt.Sprintf("element %d is set but element %d is not", s.index, len(list)),
					"number list elements from 0 without gaps")
				return
			}
			path = index(path, s.index)
			if s.index == len(list) {
				list = append(list, map[string]any{})
			}
			into[s.f.key] = list
			if s.f.kind == kindStrings {
				d.setEnv(name, path, kindString, text, func(v any) { list[s.index] = v })
				return
			}
			into, _ = list[s.index].(map[string]any)
			continue
		}
		path = join(path, s.f.key)
		if i == len(steps)-1 {
			break
		}
		if s.f.kind == kindStruct {
			next, ok := into[s.f.key].(map[string]any)
			if !ok {
				next = map[string]any{}
				into[s.f.key] = next
			}
			into = next
		}
	}
	switch last.f.kind {
	case kindList:
		d.envFault(path, name, "a list cannot be written in one variable", "set "+name+"_0_"+strings.ToUpper(last.f.fields[0].key)+" and so on")
	case kindStrings:
		d.setEnvList(name, path, text, func(v []any) { into[last.f.key] = v })
	default:
		d.setEnv(name, path, last.f.kind, text, func(v any) { into[last.f.key] = v })
	}
}

func (d *document) envFault(path, name, problem, fix string) {
	d.faults.list = append(d.faults.list, Fault{Key: path, Problem: problem, Fix: fix, Source: name})
}

func (d *document) setEnv(name, path string, k kind, text string, set func(any)) {
	value, problem, fix := parseLeaf(k, text)
	if problem != "" {
		d.envFault(path, name, problem, fix)
		if k != kindString {
			return
		}
		value = ""
	}
	d.override(path, name)
	set(value)
}

// override forgets faults of the file about a value that is not used.
func (d *document) override(path, name string) {
	d.faults.list = slices.DeleteFunc(d.faults.list, func(f Fault) bool {
		return f.Key == path && f.Source != name && f.Problem != "set twice"
	})
	d.sources[path] = name
}

// setEnvList reads a comma list. An empty text is an empty list, so that a
// variable can also switch off what the file lists.
func (d *document) setEnvList(name, path, text string, set func([]any)) {
	list := []any{}
	if strings.TrimSpace(text) != "" {
		for i, part := range strings.Split(text, ",") {
			if i >= maxElements {
				d.envFault(path, name, fmt.Sprintf("more than %d elements", maxElements), "split the gateway")
				return
			}
			d.setEnv(name, index(path, i), kindString, strings.TrimSpace(part), func(v any) { list = append(list, v) })
		}
	}
	d.override(path, name)
	set(list)
}

// suggestEnv is the variable that was probably meant.
func (d *document) suggestEnv(name string) string {
	rest := strings.ToUpper(strings.TrimPrefix(name, EnvPrefix))
	best, found := len(rest)/3+1, ""
	if len(rest) <= 128 {
		for _, known := range envNames(d.root, nil) {
			// Compare with the same index, so that 0 and 7 cost nothing.
			if dist := distance(indexes.ReplaceAllString(rest, "_0_"), known); dist < best {
				best, found = dist, known
			}
		}
	}
	if found == "" {
		return "see config.example.yaml; nested keys and list indexes are joined by _"
	}
	return "did you mean " + EnvPrefix + found + "?"
}

var indexes = regexp.MustCompile(`_[0-9]+_`)

// envNames lists a variable for every key, with index 0 for lists.
func envNames(n *node, so []string) []string {
	var out []string
	for _, f := range n.fields {
		here := append(slices.Clone(so), strings.ToUpper(f.key))
		switch f.kind {
		case kindStruct:
			out = append(out, envNames(f, here)...)
		case kindList:
			out = append(out, envNames(f, append(here, strconv.Itoa(0)))...)
		default:
			out = append(out, strings.Join(here, "_"))
		}
	}
	return out
}
