package settings

// InvalidError refuses a value, with the reason in words for whoever gave it.
type InvalidError struct{ What, Why string }

func (e *InvalidError) Error() string { return "settings: " + e.What + " " + e.Why }
