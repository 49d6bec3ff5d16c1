<?php

// Somebody else's application whose entry names our ACS by mistake: what it is
// answered with is not meant for us.
$metadata['https://elsewhere.example/metadata'] = [
    'AssertionConsumerService' => getenv('SSOGATE_INTEROP_GATEWAY') . '/saml/ssp/acs',
];
