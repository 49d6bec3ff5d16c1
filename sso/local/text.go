package local

import (
	"strconv"
	"time"
)

// What the pages say, in one place.
const (
	textNothing        = "There is nothing here"
	textNothingLead    = "The address may be mistyped, or from another version."
	textIncomplete     = "That did not work"
	textIncompleteLead = "The form was incomplete or too long. Open the page again and fill it in anew."
	textDown           = "Not available for a moment"
	textDownLead       = "Something that the gateway needs does not answer. Nothing is lost: try again in a few seconds."
	textSlow           = "Please wait a moment"
	textBusyLead       = "Many people are signing in at once. Try again in a few seconds."

	textSignIn   = "Sign in"
	textUsual    = "Sign in the usual way"
	textAccount  = "Your account"
	textUserName = "User name"
	textPassword = "Password"

	textFallback     = "Sign in as fallback owner"
	textFallbackLead = "For owners, while the identity provider cannot be used. It opens the console for half an hour, no application, and every owner is told."
	textCode         = "One-time code"
	textCodeHelp     = "From your authenticator app, or one of your recovery codes."
	textWrong        = "User name, password or code are wrong. A code works once: use another one."
	textOut          = "You are signed out"
	textOutLead      = "Your session as fallback owner has ended."

	textLinkOver     = "This link cannot be used"
	textLinkOverLead = "It was used already, has expired, or a later one has taken its place. Ask for another one."

	textSetup        = "Set up your way in"
	textSetupLead    = "Choose a password. You will then be shown recovery codes: each of them, with the password, lets you in once while the identity provider cannot be used."
	textKey          = "Key for an authenticator app"
	textAppCode      = "Code of the authenticator app (optional)"
	textAppCodeHelp  = "If you want to use an app too, enter the key above into it and type in the code it shows."
	textAppCodeWrong = "The code does not fit the key. Enter the key into the app again, and check the clock of your phone; or leave the code empty."
	textReady        = "You are set up"
	textReadyLead    = "Write the recovery codes down or print them now, and keep them where you find them without this computer. They are not shown again."
	textCodes        = "Your recovery codes"

	textNewPassword     = "Set your password"
	textNewPasswordLead = "Afterwards you are signed out everywhere, and sign in with the new one."
	textChoose          = "New password"
	textChooseHelp      = "At least 12 characters. A few words that nobody would guess are fine."
	textAgain           = "New password once more"
	textDiffer          = "The two are not the same. Type both again."
	textSetPassword     = "Set password"
	textSet             = "Your password is set"
	textSetLead         = "All sessions that were open have ended. Sign in with the new one."
	textOwnLead         = "With a password you can sign in without your identity provider, as long as your organisation allows it."
	textOldPassword     = "Present password (if you have one)"
	textOldHelp         = "Leave it empty if this is your first one."
	textOldWrong        = "This is not your present password."
	textOwnSetLead      = "It counts from now on."
	textHost            = "Your password is set on the host"
	textHostLead        = "You are a fallback owner. Whoever runs the gateway makes you a new link with \"ssogate owner recover\"."

	textForgotten     = "Have you forgotten your password?"
	textForgottenLead = "Say who you are, and a link to set a new one is sent to your e-mail address."
	textMuteLead      = "This gateway sends no e-mail. Sign in another way and set a password on your own page, or ask whoever runs it."
	textSendLink      = "Send the link"
	textLook          = "Look into your mailbox"
	textLookLead      = "If there is an account of that name with a password, a link is on its way. It works once, for an hour."
	textRequired      = "Passwords are not used here"
	textRequiredLead  = "Everybody signs in through the identity provider."
	textSignedOut     = "You are not signed in any more"
	textSignedOutLead = "Nothing was changed. Sign in again, then repeat what you did."
)

func textSlowLead(wait time.Duration) string {
	return "There were several wrong attempts. Try again in " + strconv.Itoa(int(wait/time.Second)) + " seconds."
}

func textWeak(w *WeakError) string { return "This password " + w.Why + ". Choose another one." }
