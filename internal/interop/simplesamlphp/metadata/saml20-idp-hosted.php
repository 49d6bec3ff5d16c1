<?php

// The identity provider. Every request reads anew what the test at hand wants.
$variant = json_decode(file_get_contents(getenv('SSOGATE_INTEROP') . '/variant.json'), true);

$metadata[getenv('SSOGATE_INTEROP_URL') . '/saml2/idp/metadata.php'] = array_merge([
    'host' => '__DEFAULT__',
    'privatekey' => 'idp.pem',
    'certificate' => 'idp.crt',
    'auth' => 'people',
], $variant);
