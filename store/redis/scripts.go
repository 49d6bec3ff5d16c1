package redis

import (
	_ "embed"

	goredis "github.com/redis/go-redis/v9"
)

// The scripts are files of their own: each is one atomic step, and reads best
// alone. KEYS are passed and never built inside, as Redis Cluster demands.
var (
	//go:embed create.lua
	createLua string
	//go:embed index.lua
	indexLua string
	//go:embed touch.lua
	touchLua string
	//go:embed delete.lua
	deleteLua string
	//go:embed deletebelow.lua
	deleteBelowLua string
	//go:embed put.lua
	putLua string
	//go:embed take.lua
	takeLua string
)

// scripts are sent once per server and then named by their digest.
type scripts struct {
	create, index, touch, delete, deleteBelow, put, take *goredis.Script
}

func newScripts() scripts {
	return scripts{
		create:      goredis.NewScript(createLua),
		index:       goredis.NewScript(indexLua),
		touch:       goredis.NewScript(touchLua),
		delete:      goredis.NewScript(deleteLua),
		deleteBelow: goredis.NewScript(deleteBelowLua),
		put:         goredis.NewScript(putLua),
		take:        goredis.NewScript(takeLua),
	}
}
