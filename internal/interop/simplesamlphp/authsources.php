<?php

$config = [
    'people' => [
        'exampleauth:UserPass',
        'ana:ana-opens-the-gate' => [
            'uid' => ['ana'], 'mail' => ['ana@interop.example'], 'givenName' => ['Ana'], 'sn' => ['Moreau'],
            'displayName' => ['Ana Moreau'], 'eduPersonAffiliation' => ['staff', 'keepers'],
        ],
        'cleo:cleo-opens-the-gate' => [
            'uid' => ['cleo'], 'mail' => ['cleo@interop.example'], 'givenName' => ['Cléo'], 'sn' => ['Nørgaard'],
            'displayName' => ['Cléo Nørgaard'], 'eduPersonAffiliation' => ['staff'],
        ],
    ],
];
