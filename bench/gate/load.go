package main

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// load is what one contestant gets: the same request again and again on connections
// that are kept. It is written on epoll, because a load that costs as much as the
// proxy would leave the proxy idle.
type load struct {
	addr    netip.AddrPort
	request []byte
	body    int // length of each answer's body
	conns   int
	// rate of requests a second, 0 for as many as are answered. With a rate, times
	// count from when a request was due: a proxy that stalls does not hide the
	// requests that would have come meanwhile.
	rate int
}

// result of one slice.
type result struct {
	took     time.Duration
	requests int             // answered meanwhile
	times    []time.Duration // of those that also began in it, sorted
}

// caller is one connection.
type caller struct {
	fd    int
	buf   [8 << 10]byte
	have  int
	began time.Duration // of its request
}

// run gives load for the time of warm and then of slice; mark is called between them
// and at the end, while load goes on.
func (l *load) run(warm, slice time.Duration, mark func()) (result, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	d := &driver{load: l, start: time.Now(), warm: warm, end: warm + slice, mark: mark}
	defer d.close()
	if err := d.open(); err != nil {
		return result{}, err
	}
	for !d.over {
		if err := d.turn(); err != nil {
			return result{}, err
		}
	}
	slices.Sort(d.result.times)
	return d.result, nil
}

// driver is one run.
type driver struct {
	*load
	epoll, timer int
	callers      []caller
	free         []*caller       // with a rate: those that wait
	due          []time.Duration // with a rate: requests that wait
	sent         int             // with a rate: requests that were due so far

	start     time.Time
	warm, end time.Duration
	counting  bool
	over      bool
	began     time.Duration // of counting
	mark      func()
	events    [128]unix.EpollEvent
	result    result
}

const timerEvent = -1

func (d *driver) now() time.Duration { return time.Since(d.start) }

func (d *driver) open() (err error) {
	if d.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("load: epoll: %w", err)
	}
	d.result.times = make([]time.Duration, 0, 1<<17)
	d.callers = make([]caller, d.conns)
	for i := range d.callers {
		c := &d.callers[i]
		if c.fd, err = connect(d.addr); err != nil {
			return fmt.Errorf("load: connect: %w", err)
		}
		if err := d.watch(c.fd, int32(i)); err != nil { //nolint:gosec // some dozens
			return err
		}
		if d.rate > 0 {
			d.free = append(d.free, c)
		} else if err := d.send(c, d.now()); err != nil {
			return err
		}
	}
	if d.rate == 0 {
		return nil
	}
	if d.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return fmt.Errorf("load: timer: %w", err)
	}
	each := unix.NsecToTimespec(int64(time.Second) / int64(d.rate))
	if err := unix.TimerfdSettime(d.timer, 0, &unix.ItimerSpec{Interval: each, Value: each}, nil); err != nil {
		return fmt.Errorf("load: timer: %w", err)
	}
	return d.watch(d.timer, timerEvent)
}

func (d *driver) watch(fd int, as int32) error {
	if err := unix.EpollCtl(d.epoll, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: as}); err != nil {
		return fmt.Errorf("load: epoll: %w", err)
	}
	return nil
}

func (d *driver) close() {
	for i := range d.callers {
		if fd := d.callers[i].fd; fd > 0 {
			_ = unix.Close(fd)
		}
	}
	for _, fd := range []int{d.timer, d.epoll} {
		if fd > 0 {
			_ = unix.Close(fd)
		}
	}
}

func connect(addr netip.AddrPort) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	err = errors.Join(
		unix.Connect(fd, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: addr.Addr().As4()}),
		unix.SetNonblock(fd, true), unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1))
	if err != nil {
		_ = unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

// turn waits for what comes and deals with it.
func (d *driver) turn() error {
	n, err := unix.EpollWait(d.epoll, d.events[:], 1000)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return fmt.Errorf("load: epoll: %w", err)
	}
	d.phase(d.now())
	if n == 0 && !d.over {
		return errors.New("load: no answer for a second")
	}
	for _, e := range d.events[:max(n, 0)] {
		if e.Fd == timerEvent {
			err = d.tick()
		} else {
			err = d.receive(&d.callers[e.Fd])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// phase begins and ends the part that counts.
func (d *driver) phase(now time.Duration) {
	switch {
	case !d.counting && now >= d.warm:
		d.mark()
		d.began, d.counting = d.now(), true
		d.end += d.began - d.warm // what the mark took is not of the slice
	case d.counting && now >= d.end && !d.over:
		d.mark()
		d.result.took, d.over = now-d.began, true
	}
}

func (d *driver) send(c *caller, began time.Duration) error {
	c.have, c.began = 0, began
	if n, err := unix.Write(c.fd, d.request); err != nil || n != len(d.request) {
		return fmt.Errorf("load: sent %d bytes: %w", n, err)
	}
	return nil
}

// tick sends what is due by now.
func (d *driver) tick() error {
	var b [8]byte
	if _, err := unix.Read(d.timer, b[:]); err != nil {
		return fmt.Errorf("load: timer: %w", err)
	}
	for now := d.now(); ; d.sent++ {
		at := time.Duration(d.sent+1) * time.Second / time.Duration(d.rate)
		if at > now {
			return d.dispatch()
		}
		d.due = append(d.due, at)
	}
}

func (d *driver) dispatch() error {
	for len(d.due) > 0 && len(d.free) > 0 {
		c := d.free[len(d.free)-1]
		d.free = d.free[:len(d.free)-1]
		if err := d.send(c, d.due[0]); err != nil {
			return err
		}
		d.due = d.due[1:]
	}
	return nil
}

func (d *driver) receive(c *caller) error {
	n, err := unix.Read(c.fd, c.buf[c.have:])
	switch {
	case errors.Is(err, unix.EAGAIN):
		return nil
	case err != nil:
		return fmt.Errorf("load: read: %w", err)
	case n == 0:
		return errors.New("load: the connection was closed")
	}
	c.have += n
	whole, err := answered(c.buf[:c.have], d.body)
	if err != nil || !whole {
		return err
	}
	now := d.now()
	if d.counting && !d.over {
		d.result.requests++
		if c.began >= d.began {
			d.result.times = append(d.result.times, now-c.began)
		}
	}
	if d.rate > 0 {
		d.free = append(d.free, c)
		return d.dispatch()
	}
	return d.send(c, now)
}

var (
	headEnd = []byte("\r\n\r\n")
	status  = []byte("HTTP/1.1 200 ")
)

// answered reports whether b is a whole answer. Anything but a 200 with a body of the
// length that is expected, and nothing behind it, is an error.
func answered(b []byte, body int) (bool, error) {
	end := bytes.Index(b, headEnd)
	if end < 0 {
		return false, nil
	}
	if !bytes.HasPrefix(b, status) {
		return false, fmt.Errorf("load: answered %q", b[:min(end, 80)])
	}
	length, err := contentLength(b[:end+2])
	if err != nil {
		return false, err
	}
	have := len(b) - end - len(headEnd)
	if length != body || have > body {
		return false, fmt.Errorf("load: a body of %d bytes instead of %d", max(length, have), body)
	}
	return have == body, nil
}

// contentLength reads it from a head; every line ends in CRLF.
func contentLength(head []byte) (int, error) {
	const name = "content-length:"
	for rest := head; len(rest) > 0; {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			break
		}
		line := rest[:end]
		rest = rest[end+1:]
		// The first letter decides for nearly all lines.
		if len(line) > len(name) && line[0]|0x20 == 'c' && bytes.EqualFold(line[:len(name)], []byte(name)) {
			n, err := strconv.Atoi(string(bytes.TrimSpace(line[len(name):])))
			if err != nil {
				return 0, fmt.Errorf("load: content-length: %w", err)
			}
			return n, nil
		}
	}
	return 0, errors.New("load: an answer without a length")
}
