// Command ssogate puts Require SSO in front of a web application.
//
// It owns the command line: one file a command, and [Main], which tests run with
// arguments, streams and environment of their own. It must hold no rule: commands
// read the config, call the packages below and print. The wiring of a running
// gateway is cmd/ssogate/run.
//
//	root.go     Main, exit codes, help, the list of commands
//	init.go     write a config with fresh keys
//	check.go    report every fault of a config
//	version.go  what was built, from what
//
// Exit codes: 0 done, 1 refused or failed, 2 the command line was wrong.
package main
