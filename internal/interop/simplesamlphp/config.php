<?php

// SimpleSAMLphp as the tests of internal/interop run it: everything it writes is
// below the directory named by SSOGATE_INTEROP, and nothing of the host's own
// configuration is read. What a test changes is in variant.json there.
$dir = getenv('SSOGATE_INTEROP');
$base = getenv('SSOGATE_INTEROP_URL');

$config = [
    'baseurlpath' => $base . '/',
    'certdir' => $dir . '/cert/',
    'loggingdir' => $dir . '/log/',
    'datadir' => $dir . '/data/',
    'tempdir' => $dir . '/tmp',
    'metadatadir' => __DIR__ . '/metadata',
    'timezone' => 'UTC',
    'secretsalt' => 'only-for-tests',
    'auth.adminpassword' => bin2hex(random_bytes(16)),
    'admin.checkforupdates' => false,
    'trusted.url.domains' => ['localhost:' . getenv('SSOGATE_INTEROP_GATEWAY_PORT')],

    'logging.handler' => 'file',
    'logging.logfile' => 'simplesamlphp.log',
    'logging.level' => 7,
    'showerrors' => true,
    'errorreporting' => false,

    'enable.saml20-idp' => true,
    'module.enable' => ['exampleauth' => true, 'core' => true, 'saml' => true],

    'store.type' => 'phpsession',
    'session.phpsession.savepath' => $dir . '/sessions',
    // Plain http on loopback.
    'session.cookie.secure' => false,
    'session.cookie.samesite' => null,
    'language.cookie.secure' => false,
    'language.cookie.samesite' => null,
    'language.available' => ['en'],
    'language.default' => 'en',

    'metadata.sources' => [['type' => 'flatfile']],
];
