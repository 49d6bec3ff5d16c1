// Package config is the operator's boot file: one immutable [Config] per load.
//
// It owns reading (viper, fenced in here: nothing else imports it), strict
// decoding, defaults, environment (SSOGATE_...), *_file secrets, and
// [Config.Validate], which reports every fault at once with its key path and
// fix. It must not import any other package of ssogate and never shares a type
// with settings.
package config
