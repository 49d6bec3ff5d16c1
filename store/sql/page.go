package sql

import (
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/ssogate/ssogate/scim/filter"
	"github.com/ssogate/ssogate/scim/record"
)

// place is where a resource stands in the order of creation.
type place struct {
	created int64
	id      string
}

// pager reads one page of one list.
type pager[T any] struct {
	kindOfList[T]
	q            record.Query
	d            *DB
	t            *tx
	r            renderer
	where        string   // with the connection
	order        []string // columns to sort by before the order of creation
	indexed      bool     // an index gives that order
	start, count int
	after        *place // continue behind it
	total        int
	moves        int64
	bound        int // arguments of where
}

// prepare renders filter, order and position.
func (p *pager[T]) prepare() error {
	p.where = p.alias + ".connection = $1"
	if p.q.Filter != nil {
		s, err := p.r.render(p.q.Filter)
		if err != nil {
			return err
		}
		p.where += " AND " + s
	}
	p.bound = len(p.r.args)
	if by := p.q.Sort.By; by.Attr != "" {
		if err := p.sort(by); err != nil {
			return err
		}
	}
	return p.position()
}

func (p *pager[T]) sort(by filter.Path) error {
	name := strings.ToLower(by.Attr)
	if by.Sub != "" {
		name += "." + strings.ToLower(by.Sub)
	}
	a, ok := p.attributes[name]
	if !ok || by.URN != "" || by.Filter != nil || a.kind == linked || a.kind == constant {
		return filter.ErrUnsupported
	}
	switch {
	case name == "emails" || name == "emails.value":
		// The column holds the address for work; RFC 7644 section 3.4.2.3 wants
		// the primary one. They need not be the same.
		return filter.ErrUnsupported
	case a.kind == boolean:
		p.order = []string{a.column}
	case a.kind == instant:
		p.order, p.indexed = []string{a.column}, true
	case a.byBytes: // required: never empty
		p.order, p.indexed = []string{a.column + p.r.bytes}, true
	default: // what is missing comes last
		p.order = []string{"(" + a.column + " = '')", a.column + p.r.bytes}
	}
	return nil
}

// position reads where an earlier page ended: "c" with a place in the order of
// creation, "n" with an index in any other.
func (p *pager[T]) position() error {
	if p.q.After == "" {
		return nil
	}
	kind, rest, _ := strings.Cut(p.q.After, ":")
	switch {
	case kind == "n" && p.order != nil:
		n, err := strconv.Atoi(rest)
		if err != nil || n < 1 {
			return record.ErrPosition
		}
		p.start = n
		return nil
	case kind == "c" && p.order == nil:
		created, id, ok := strings.Cut(rest, ":")
		n, err := strconv.ParseInt(created, 10, 64)
		if !ok || err != nil || id == "" || !storable(id) {
			return record.ErrPosition
		}
		p.after = &place{n, id}
		return nil
	}
	return record.ErrPosition
}

func (p *pager[T]) page() (found record.Found[T], err error) {
	if err := p.countAll(); err != nil {
		return found, err
	}
	found.Total = p.total
	switch {
	case p.count <= 0 || p.total == 0:
		return found, nil
	case p.order != nil:
		found.Items, err = p.read(nil, p.start-1, p.count+1, false)
	case p.after != nil:
		found.Items, err = p.read(p.after, 0, p.count+1, false)
	default:
		found.Items, err = p.at()
	}
	if err != nil {
		return found, err
	}
	if len(found.Items) > p.count {
		found.Items = found.Items[:p.count]
		last := p.key(found.Items[p.count-1])
		found.Next = "c:" + strconv.FormatInt(last.created, 10) + ":" + last.id
		if p.order != nil {
			found.Next = "n:" + strconv.Itoa(p.start+p.count)
		}
	}
	if p.order == nil && p.after == nil && p.q.Filter == nil {
		p.remember(found.Items)
	}
	return found, nil
}

// countAll sets the total: the maintained one, or that of a filter.
func (p *pager[T]) countAll() error {
	n, moves, err := p.t.total(tally{p.q.Connection, p.kind})
	if err != nil {
		return err
	}
	p.total, p.moves = int(n), moves
	tooMuch := p.r.costly && !p.r.bounded || p.order != nil && !p.indexed && !p.r.bounded
	if p.total > p.d.lookMost && tooMuch {
		return fmt.Errorf("sql: %s: more than %d resources would be looked through: %w", p.what, p.d.lookMost, filter.ErrUnsupported)
	}
	if p.q.Filter == nil {
		return nil
	}
	return p.t.row(p.what, func(row *sql.Row) error { return row.Scan(&p.total) },
		"SELECT count(*) FROM "+p.table+" "+p.alias+" WHERE "+p.where, p.r.args[:p.bound]...)
}

// at reads the page at an index in the order of creation, from the nearest place
// that is known: the beginning, the end, or where an earlier page ended.
func (p *pager[T]) at() ([]T, error) {
	if p.start > p.total {
		return nil, nil
	}
	forward := p.start - 1
	var from *place
	if a, ok := p.nearest(); ok {
		forward, from = p.start-a.index, &a.place
	}
	end := min(p.start+p.count-1, p.total)
	backward := p.total - end
	if backward >= forward {
		return p.read(from, forward, p.count+1, false)
	}
	list, err := p.read(nil, backward, end-p.start+1, true)
	slices.Reverse(list)
	if err == nil && backward > 0 && len(list) == p.count {
		var more T // that there is another page is known, not what is on it
		list = append(list, more)
	}
	return list, err
}

func direction(descending bool) string {
	if descending {
		return " DESC"
	}
	return ""
}

// read gets a page, of the part behind a place if one is given. The rows to skip
// are skipped in the index: only the page's own are fetched whole.
func (p *pager[T]) read(from *place, skip, count int, backwards bool) ([]T, error) {
	where, args := p.where, p.r.args[:p.bound:p.bound]
	if from != nil {
		where += fmt.Sprintf(" AND (%s.created, %s.id) > ($%d, $%d)", p.alias, p.alias, p.bound+1, p.bound+2)
		args = append(args, from.created, from.id)
	}
	dir := direction(backwards)
	created := p.alias + ".created"
	if p.r.bounded {
		// Few resources, found by another index: an expression has none, so that
		// nobody is tempted to walk through all of them in their order.
		created = "+" + created
	}
	order := created + dir + ", " + p.alias + ".id" + dir
	for i := len(p.order) - 1; i >= 0; i-- {
		order = p.order[i] + direction(p.q.Sort.Descending) + ", " + order
	}
	inner := p.inner(where, order, count, skip)
	return list(p.t, p.what, p.scan, "SELECT "+p.columns+" FROM ("+inner+") page JOIN "+p.table+" "+p.alias+
		" ON "+p.alias+".id = page.id ORDER BY "+order, args...)
}

func (p *pager[T]) inner(where, order string, count, skip int) string {
	return "SELECT " + p.alias + ".id FROM " + p.table + " " + p.alias + " WHERE " + where +
		" ORDER BY " + order + " LIMIT " + strconv.Itoa(count) + " OFFSET " + strconv.Itoa(max(skip, 0))
}
