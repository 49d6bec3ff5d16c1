package proxy

import (
	"context"
	"errors"
	"testing"
	"time"
)

// The context of an exchange ends with the client's and by a cut, tells everybody who
// asked, once, and nobody who has taken it back.
func TestContextOfAnExchange(t *testing.T) {
	for name, end := range map[string]func(client context.CancelFunc, c *carried){
		"the client goes": func(client context.CancelFunc, _ *carried) { client() },
		"a cut":           func(_ context.CancelFunc, c *carried) { c.end() },
		"the end":         func(_ context.CancelFunc, c *carried) { c.finish() },
	} {
		client, leave := context.WithCancel(t.Context())
		c := &carried{}
		c.begin(client, nil)
		if c.Err() != nil {
			t.Fatal(c.Err())
		}
		killed, told := make(chan struct{}), make(chan struct{})
		if !c.Watch(&killed1{killed}) {
			t.Error("it has ended before it began")
		}
		stop := c.AfterFunc(func() { t.Errorf("%s: somebody is told who did not want it any more", name) })
		if !stop() || stop() {
			t.Error("taken back twice, or not at all")
		}
		context.AfterFunc(c, func() { close(told) })
		child, cancel := context.WithTimeout(c, time.Hour)
		end(leave, c)
		<-killed
		<-told
		<-c.Done()
		<-child.Done()
		if !errors.Is(c.Err(), context.Canceled) || !errors.Is(child.Err(), context.Canceled) || c.Watch(&killed1{}) {
			t.Errorf("%s: %v, %v", name, c.Err(), child.Err())
		}
		late := make(chan struct{})
		c.AfterFunc(func() { close(late) })
		<-late
		c.end() // more than once
		cancel()
		leave()
	}
	// An exchange that begins again is not ended by what ended before.
	c := &carried{}
	c.begin(t.Context(), nil)
	k := &killed1{make(chan struct{})}
	c.Watch(k)
	c.Unwatch(k)
	c.finish()
	c.begin(t.Context(), nil)
	if c.Err() != nil {
		t.Error("begun again, and over")
	}
	select {
	case <-k.c:
		t.Error("killed after it was over")
	default:
	}
	c.finish()
}

type killed1 struct{ c chan struct{} }

func (k *killed1) Kill() { close(k.c) }
